// Its presence allows functions and variables without a body in Go.
