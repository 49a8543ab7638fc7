module peers/bento

go 1.26.0

require (
	github.com/lib/pq v1.10.9
	github.com/warpstreamlabs/bento v1.10.0
)
