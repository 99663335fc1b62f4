package gotaprt

// measures tells whether durations of the class are counted.
func (c *Class) measures() bool { return false }

// measure counts an operation that took so many seconds. values are those of Class.Attributes; they are not kept.
// Two classes with the same Library and Metric, of two packages, count as one.
func (c *Class) measure(op *Operation, values []Value, seconds float64) {}
