# syntax=docker/dockerfile:1
# Two stages: the compiler stays in the first; the image is one program on a small Debian.

FROM rust:1.95-bookworm AS build
# This image includes a C compiler, and libssl-dev and pkg-config, which libpq's build needs.
WORKDIR /src
COPY . .
# The registry and the target folder live in cache mounts: a change in one file recompiles one crate. A cache mount is
# not part of a layer, so the binary is copied out. Locked sharing: two cargos in one target folder would conflict.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin rapport \
    && install -D -m 0755 target/release/rapport /out/rapport \
    && strip --strip-debug /out/rapport

FROM debian:bookworm-slim
# libssl3 for TLS to PostgreSQL, CA certificates to verify it. Versions come from the base image's release; pinning
# them exactly would break the build at the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 rapport \
    && useradd --uid 10001 --gid rapport --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rapport
COPY --from=build /out/rapport /usr/local/bin/rapport
# Numeric, so that Kubernetes can verify that it is not root.
USER 10001:10001
# Inside a container, loopback is unreachable. DATABASE_URL is required: the image has no embedded PostgreSQL.
ENV RAPPORT_BIND=0.0.0.0:8080 \
    RAPPORT_METRICS_BIND=0.0.0.0:9090 \
    RAPPORT_LOG_FORMAT=json
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# No HEALTHCHECK: docker-compose.yml runs `rapport health`, Kubernetes uses HTTP probes.
ENTRYPOINT ["/usr/local/bin/rapport"]
CMD ["serve"]
