package gotaprt

// Version is gotap's own (gotap.__version__).
const Version = "0.1.0"
