// Bento with the components that the benchmark uses.
package main

import (
	"context"

	"github.com/warpstreamlabs/bento/public/service"

	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/kafka"
	_ "github.com/warpstreamlabs/bento/public/components/prometheus"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	_ "github.com/warpstreamlabs/bento/public/components/pure/extended"
	_ "github.com/warpstreamlabs/bento/public/components/redis"
	_ "github.com/warpstreamlabs/bento/public/components/sql/base"

	_ "github.com/lib/pq"
)

func main() { service.RunCLI(context.Background()) }
