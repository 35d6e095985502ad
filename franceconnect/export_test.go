package franceconnect

import (
	"maps"
	"slices"
)

// KnownCodes returns every code that Explain and ExplainCode have an answer of its
// own for; a code that ends in "…" stands for a family.
func KnownCodes() []string {
	codes := slices.Sorted(maps.Keys(pageCodes))
	for _, family := range pageFamilies {
		codes = append(codes, family.prefix+"…")
	}
	for _, c := range protocolErrors {
		codes = append(codes, c.code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}
