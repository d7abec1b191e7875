# docker build -t tcia-covid .
# docker run --rm --read-only --user "$(id -u):$(id -g)" -v "$PWD/data:/data" tcia-covid download COVID-19-AR
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
COPY . /source
RUN python3 -m venv /opt/tcia-covid \
    && /opt/tcia-covid/bin/pip install --no-cache-dir --compile '/source[fast]' \
    && /opt/tcia-covid/bin/pip uninstall --yes pip

FROM ${PYTHON}
COPY --from=build /opt/tcia-covid /opt/tcia-covid
# The image is read-only and any user may run it: nothing is written but below /data
ENV PATH=/opt/tcia-covid/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TCIA_COVID_OUTPUT=/data
RUN mkdir /data && chmod 1777 /data
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["tcia-covid"]
