module peers/bento

go 1.26.0

require github.com/warpstreamlabs/bento v1.10.0
