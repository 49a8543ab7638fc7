# One image for every writer: the type is chosen by `--type`, the probes are HTTP (/livez, /readyz on 9090).

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make perl pkg-config libssl-dev zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The dependencies first, in a layer of their own: they are built again only when they change.
COPY Cargo.toml Cargo.lock chalk-writer.profdat[a] ./
# What `./dev profile` found of where the program spends its time, where it was run: the compiler lays it out by that. It fits
# only what is built for a target that is named.
RUN printf '%s\n' '#!/bin/sh -e' '[ ! -f chalk-writer.profdata ] || export RUSTFLAGS="-Cprofile-use=/src/chalk-writer.profdata"' \
    'target=$(rustc -vV | sed -n "s/^host: //p")' \
    'cargo build --release --locked --bin chalk-writer --target "$target"' \
    'mkdir -p target/release && cp "target/$target/release/chalk-writer" target/release/' > /usr/local/bin/build \
 && chmod +x /usr/local/bin/build
# The manifest names benches and examples too: each `path`, and each bench without one, has an empty placeholder
# that is never built.
RUN mkdir -p src && echo > src/lib.rs && echo 'fn main() {}' | tee src/main.rs > build.rs \
 && awk -F'"' '/^\[/ {bench = $0 == "[[bench]]"} /^name = / && bench {print "benches/" $2 ".rs"} /^path = / {print $2}' Cargo.toml \
  | while read -r path; do mkdir -p "${path%/*}" && [ -e "$path" ] || touch "$path"; done \
 && build \
 && rm -rf src build.rs
COPY build.rs ./
COPY proto proto
COPY src src
# What `--version`, the log and /status.json say of the sources: --build-arg CHALK_WRITER_REVISION=$(git rev-parse HEAD).
ARG CHALK_WRITER_REVISION
# cargo goes by modification times: the real files must be newer than the placeholders were.
RUN touch build.rs src/main.rs src/lib.rs && build
# All that the binary loads, and nothing else: no shell, no package manager.
RUN mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/tmp \
 && cp target/release/chalk-writer /image/usr/local/bin/ \
 && ldd target/release/chalk-writer | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} /image \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && echo 'nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' > /image/etc/passwd \
 && echo 'nonroot:x:65532:' > /image/etc/group && chmod 1777 /image/tmp

FROM scratch
ARG CHALK_WRITER_REVISION
LABEL org.opencontainers.image.revision=$CHALK_WRITER_REVISION
COPY --from=build /image /
USER 65532:65532
EXPOSE 9090
# The writers drain on SIGTERM: what is at hand is written and acknowledged before they leave.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/chalk-writer"]
