# One image a service: --target graph, web, bots or probe. Each is a virtual environment with exactly
# what uv.lock names, built in a stage that stays behind.

FROM python:3.13-slim AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/speedtrap \
    # The page's npm packages are fetched while web's wheel is built: trust what the system trusts.
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY probe/pyproject.toml probe/
COPY graph/pyproject.toml graph/
COPY bots/pyproject.toml bots/
COPY web/pyproject.toml web/

# For each service first what it stands on, which seldom changes, then itself.
FROM build AS graph-build
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-graph --extra mqtt --no-install-workspace
COPY graph graph
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-graph --extra mqtt --no-editable

FROM build AS web-build
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-web --no-install-workspace
COPY web web
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-web --no-editable

FROM build AS bots-build
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-bots --no-install-workspace
COPY bots bots
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-bots --no-editable

FROM build AS probe-build
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-probe --no-install-workspace
COPY probe probe
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --package speedtrap-probe --no-editable

FROM python:3.13-slim AS runtime
RUN groupadd --gid 10001 speedtrap \
 && useradd --uid 10001 --gid speedtrap --no-create-home --home-dir /tmp --shell /usr/sbin/nologin speedtrap
ENV PATH=/opt/speedtrap/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY docker/entrypoint.sh /usr/local/bin/speedtrap-entrypoint
COPY docker/listening.py /usr/local/bin/speedtrap-listening
WORKDIR /tmp
ENTRYPOINT ["speedtrap-entrypoint"]

FROM runtime AS graph
COPY --from=graph-build /opt/speedtrap /opt/speedtrap
EXPOSE 8000
CMD ["speedtrap-graph", "serve"]

FROM runtime AS web
COPY --from=web-build /opt/speedtrap /opt/speedtrap
RUN mkdir -p /var/lib/speedtrap/web && chown -R speedtrap:speedtrap /var/lib/speedtrap
EXPOSE 8000
CMD ["speedtrap-web", "serve"]

FROM runtime AS bots
COPY --from=bots-build /opt/speedtrap /opt/speedtrap
ENV MPLCONFIGDIR=/tmp/matplotlib
CMD ["speedtrap-bots", "run"]

FROM runtime AS probe
COPY --from=probe-build /opt/speedtrap /opt/speedtrap
COPY docker/measured.py /usr/local/bin/speedtrap-measured
RUN mkdir -p /var/lib/speedtrap/probe && chown -R speedtrap:speedtrap /var/lib/speedtrap
CMD ["speedtrap-probe", "watch", "--every", "1h"]
