# One builder, one target a server: `docker build --target auth-server .` and `--target resource-server`.
# Written for every engine since docker.io 20.10: no mounts, no heredocs, no --link.
FROM rust:1-slim-bookworm AS builder
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p auth-server -p resource-server
# The volumes take their owner from this folder: the runtime image has no shell that could make one.
RUN mkdir /empty

FROM gcr.io/distroless/cc-debian12:nonroot AS auth-server
COPY --from=builder /src/target/release/auth-server /usr/local/bin/auth-server
COPY --from=builder --chown=65532:65532 /empty /data
USER 65532:65532
WORKDIR /data
ENV AUTH_SERVER_LISTEN=0.0.0.0:9000 \
    AUTH_SERVER_DATABASE=sqlite:/data/auth-server.db
EXPOSE 9000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/auth-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/auth-server"]
CMD ["serve"]

FROM gcr.io/distroless/cc-debian12:nonroot AS resource-server
COPY --from=builder /src/target/release/resource-server /usr/local/bin/resource-server
COPY --from=builder --chown=65532:65532 /empty /data
USER 65532:65532
WORKDIR /data
ENV RESOURCE_SERVER_LISTEN=0.0.0.0:9001 \
    RESOURCE_SERVER_DATABASE=sqlite:/data/resource-server.db
EXPOSE 9001
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/resource-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/resource-server"]
CMD ["serve"]
