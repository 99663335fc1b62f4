module kernelguest

go 1.18
