# syntax=docker/dockerfile:1
# The image of Parlor: one program, the libraries that it loads and nothing else; no shell, no package manager, no root.
#
#   docker build --build-arg COMMIT=$(git rev-parse HEAD) -t parlor .
#   docker build --target test .        # the tests alone
#   docker build --target with-jolie .  # the same image with the interpreter of scripts in Jolie (60 MB more; NOTICE has its licences)
#
# Tests run in the build: the last stages take what only a passed test leaves.

FROM node:20-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
COPY web/packages ./packages
RUN npm ci --silent
COPY web ./
RUN npm run --silent build

FROM rust:1.95-bookworm AS source
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends cmake libssl-dev ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=web /src/web/dist web/dist
# There is no .git in here: what `parlor --version` says comes from outside.
ARG COMMIT=
ARG BUILT=
ENV PARLOR_COMMIT=$COMMIT PARLOR_BUILT=$BUILT

FROM source AS test
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo test --locked --lib \
    && cargo test --locked --test it -- docs:: deploy:: http:: socket:: stages:: bus_embedded:: migrations:: \
    && date -u +%FT%TZ >/tested

FROM source AS build
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin parlor \
    && deploy/image/rootfs.sh target/release/parlor /rootfs 60
COPY --from=test /tested /rootfs/usr/share/parlor/tested

# The interpreter, its small Java, and the libraries of the system that this needs, each in its place.
FROM source AS jolie
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends maven openjdk-17-jdk-headless \
    && rm -rf /var/lib/apt/lists/*
RUN scripts/jolie.sh /usr/lib/parlor/jolie \
    && while read -r library; do install -D "$library" "/rootfs$library"; done </usr/lib/parlor/jolie/libraries \
    && mkdir -p /rootfs/usr/lib/parlor /rootfs/usr/share/parlor \
    && mv /usr/lib/parlor/jolie /rootfs/usr/lib/parlor/ \
    && cp NOTICE /rootfs/usr/share/parlor/

FROM scratch AS parlor
ARG COMMIT=
LABEL org.opencontainers.image.title="Parlor" \
      org.opencontainers.image.description="A chat server whose users program their own messages" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /rootfs /
USER 65532:65532
# Sockets and HTTP; health and metrics, for the operator's network only.
EXPOSE 8080 9090
VOLUME /var/lib/parlor
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/parlor"]
CMD ["serve", "--data", "/var/lib/parlor", "--listen", "0.0.0.0:8080", "--internal-listen", "0.0.0.0:9090"]

FROM parlor AS with-jolie
COPY --from=jolie /rootfs /

# Without a target it is the one without.
FROM parlor
