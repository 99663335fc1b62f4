module toolbox

go 1.18
