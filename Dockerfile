# syntax=docker/dockerfile:1
# Two stages: the compiler stays behind, what is shipped is one program on a small Debian.

FROM rust:1.95-bookworm AS build
# libssl-dev and pkg-config, which libpq's build asks for, and a C compiler are part of this image.
WORKDIR /src
COPY . .
# The registry and the target folder live in cache mounts: a change in one file recompiles one crate. A cache mount is
# not part of a layer, hence the copy out of it. Locked sharing, because two cargos in one target folder would collide.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin rapport \
    && install -D -m 0755 target/release/rapport /out/rapport \
    && strip --strip-debug /out/rapport

FROM debian:bookworm-slim
# libssl3 for TLS to PostgreSQL, certificates to verify it with. The base image's release fixes their versions; a pin
# to the day would only break the build at the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 rapport \
    && useradd --uid 10001 --gid rapport --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rapport
COPY --from=build /out/rapport /usr/local/bin/rapport
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
# Inside a container loopback reaches nobody. DATABASE_URL is required: there is no PostgreSQL in here to embed.
ENV RAPPORT_BIND=0.0.0.0:8080 \
    RAPPORT_METRICS_BIND=0.0.0.0:9090 \
    RAPPORT_LOG_FORMAT=json
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Health is asked by whoever runs it: docker-compose.yml by `rapport health`, Kubernetes over HTTP.
ENTRYPOINT ["/usr/local/bin/rapport"]
CMD ["serve"]
