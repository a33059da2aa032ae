# The image of the service: one binary on a base without a shell. A plain `docker build .` makes it.
# docs/deployment.md says what it promises, and tests/container/run holds it to that.

FROM rust:1.95-slim-bookworm AS dependencies
WORKDIR /build
ENV CARGO_INCREMENTAL=0 SQLX_OFFLINE=true

# The dependencies first, from the manifests alone, and the crates in crates/, which change rarely: this
# layer is rebuilt when Cargo.lock or they change and not when the service does. The box for
# development and the benchmark are members of the workspace, so Cargo wants to see their manifests and
# a target; they are never compiled.
COPY Cargo.toml Cargo.lock build.rs ./
COPY crates crates
COPY bench/Cargo.toml bench/
COPY dev/Cargo.toml dev/
# template-only: begin
COPY generate/Cargo.toml generate/
RUN mkdir -p generate/src && echo '//! A stand-in.' >generate/src/main.rs && echo 'fn main() {}' >>generate/src/main.rs
# template-only: end
RUN mkdir -p src bench/src dev/src \
 && echo '//! A stand-in.' | tee src/lib.rs bench/src/main.rs dev/src/lib.rs >src/main.rs \
 && echo 'fn main() {}' >>src/main.rs \
 && cargo build --release --locked --bin groundwork

FROM dependencies AS build
COPY .sqlx .sqlx
COPY migrations migrations
COPY src src
ARG BUILD_COMMIT
# COPY keeps the files' times, which are older than the stand-ins that Cargo has just compiled.
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin groundwork

# The fake Stripe of docker-compose.yml, for a developer's machine: `--target fake-stripe`. The production image takes
# nothing from these two stages. Naming both packages keeps the dependencies' features, and so their compiled code.
FROM dependencies AS build-fake-stripe
COPY dev/slice dev/slice
COPY dev/src dev/src
RUN mkdir /data \
 && touch dev/src/lib.rs dev/src/main.rs \
 && cargo build --release --locked --package groundwork --package groundwork-dev --bin groundwork-dev

FROM gcr.io/distroless/cc-debian12:nonroot AS fake-stripe
COPY --from=build-fake-stripe --chmod=0755 /build/target/release/groundwork-dev /usr/local/bin/groundwork-dev
COPY --from=build-fake-stripe --chown=65532:65532 /data /data
USER 65532:65532
EXPOSE 12111
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=30s --start-interval=500ms \
  CMD ["/usr/local/bin/groundwork-dev", "stripe", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/groundwork-dev", "stripe"]
CMD ["--listen", "0.0.0.0:12111", "--data", "/data/stripe.json"]

FROM gcr.io/distroless/cc-debian12:nonroot
ARG APP_VERSION
ARG BUILD_COMMIT
LABEL org.opencontainers.image.title="groundwork" \
      org.opencontainers.image.description="A SaaS backend to generate, rename and own" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot" \
      org.opencontainers.image.version="${APP_VERSION}" \
      org.opencontainers.image.revision="${BUILD_COMMIT}"
# Left empty it is as good as unset: the service then names the version in Cargo.toml.
ENV APP_VERSION=${APP_VERSION}
COPY --from=build --chmod=0755 /build/target/release/groundwork /usr/local/bin/groundwork

# By number, so that an orchestrator can tell that it is not root.
USER 65532:65532
# The API, and the metrics where METRICS_ADDR names this port.
EXPOSE 8000 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=30s --start-interval=500ms \
  CMD ["/usr/local/bin/groundwork", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/groundwork"]
CMD ["serve"]
