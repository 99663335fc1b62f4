module example.com/jitmodule

go 1.18
