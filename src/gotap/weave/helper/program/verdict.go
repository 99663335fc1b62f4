package main

// A tri is a three-valued answer to "does this join point match here?", given before anything is parsed. `always`
// means every node, so negation is exact.
type tri int

const (
	never tri = iota - 1
	unknown
	always
)

// A verdict is an answer with the reason for a `never`.
type verdict struct {
	tri
	why string
}

func both(a, b verdict) verdict {
	if b.tri < a.tri {
		return b
	}
	return a
}

func either(a, b verdict) verdict {
	if b.tri > a.tri {
		return b
	}
	return a
}

func refuse(why string) verdict { return verdict{never, why} }

func decided(matches bool, why string) verdict {
	if matches {
		return verdict{tri: always}
	}
	return refuse(why)
}
