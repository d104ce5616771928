# Two images: `docker build --target gateway .` (the default, last stage) serves and knows nothing of scikit-learn;
# `docker build --target trainer .` trains and publishes.

FROM python:3.11-slim-bookworm AS source
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY turnout turnout
COPY gateway gateway
COPY experiments experiments
COPY registry registry
COPY features features
COPY trainer trainer
COPY storage storage
RUN python -m venv /opt/turnout

FROM source AS gateway-environment
RUN /opt/turnout/bin/pip install --no-cache-dir --constraint constraints.txt '.[server,postgresql,s3,signing,otel]'

FROM source AS trainer-environment
RUN /opt/turnout/bin/pip install --no-cache-dir --constraint constraints.txt '.[trainer]'

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/turnout/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --create-home turnout && install --directory --owner turnout /state
WORKDIR /home/turnout

FROM base AS trainer
COPY --from=trainer-environment /opt/turnout /opt/turnout
USER 10001
ENTRYPOINT ["turnout"]
CMD ["--help"]
# It serves nothing that could be asked; it lives while its process lives.
HEALTHCHECK NONE

FROM base AS gateway
COPY --from=gateway-environment /opt/turnout /opt/turnout
USER 10001
VOLUME /state
EXPOSE 8001 8002 8003
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-m", "gateway.probe", "127.0.0.1:8001", "https://127.0.0.1:8002"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["turnout", "serve"]
# It refuses to be open to all: give it TURNOUT_TOKENS, TURNOUT_TLS_CERT and TURNOUT_TLS_KEY, or TURNOUT_INSECURE=true.
CMD ["--state", "/state", "--host", "0.0.0.0"]
