# The gateway as an image: `docker build -t chatferry .`. How it is run: docs/deploy.md.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# A folder of its own, so that the second stage takes what is installed and not what it took to install it.
RUN python -m venv --without-pip /opt/chatferry
WORKDIR /src
COPY pyproject.toml README.md ./
COPY src src
# Without ocr and media, which are large; docs/media.md says who needs them.
RUN pip --python /opt/chatferry/bin/python install --no-cache-dir '.[jwt,mcp,otel,postgres,privacy,slack,wechat]'
RUN mkdir /data

FROM python:${PYTHON}-slim
COPY --from=build /opt/chatferry /opt/chatferry
# By number: Kubernetes can tell that it is not root, and no account is needed.
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/chatferry/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=8080 \
    CHATFERRY_DATABASE=sqlite:////data/chatferry.db
# chatferry.toml and .env are read from here, where there are any. It cannot be written: exports and proofs of
# `chatferry forget` go to /tmp or /data, as docs/deploy.md says.
WORKDIR /etc/chatferry
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["chatferry", "health"]
CMD ["chatferry", "serve"]
