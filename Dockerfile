# syntax=docker/dockerfile:1
# The gateway as one static binary and nothing else. For a build that can be repeated, pin both images
# by digest: `docker buildx imagetools inspect IMAGE` prints it.

FROM rust:1.95-alpine AS build
# aws-lc (TLS) is C.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base cmake
WORKDIR /src
# Dependencies are a layer of their own: they are built again only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
# Named in Cargo.toml, so they have to be there; they are not built.
COPY benches benches
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --profile dist --locked --no-default-features \
    && rm -rf src
COPY src src
ARG VERSION=0.1.0
ARG REVISION=unknown
# The sources are newer than the stand-ins above. `jobs-gateway --version` says what this was built from.
RUN find src -type f -exec touch {} + \
    && JOBS_GATEWAY_VERSION="${VERSION} (${REVISION})" cargo build --profile dist --locked --no-default-features \
    && strip target/dist/jobs-gateway \
    && mkdir -p /state

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://github.com/example/jobs-gateway
LABEL org.opencontainers.image.title="Jobs Gateway" \
      org.opencontainers.image.description="Move AI's Jobs API for many tenants behind one key." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}/blob/main/docs/operating.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# Certificate authorities, for Move and for issuers.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /state /var/lib/jobs-gateway
COPY --from=build /src/target/dist/jobs-gateway /jobs-gateway
USER 65532:65532
# For commands that are run in the container.
ENV JOBS_GATEWAY_CONFIG=/etc/jobs-gateway/config/gateway.yaml \
    JOBS_GATEWAY_AUDIT=/var/lib/jobs-gateway/audit/audit.jsonl
EXPOSE 4000 9090
VOLUME /var/lib/jobs-gateway
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["/jobs-gateway", "healthcheck"]
ENTRYPOINT ["/jobs-gateway"]
CMD ["serve", "--config", "/etc/jobs-gateway/config/gateway.yaml"]
