# One image with the three commands: docker run IMAGE scheduler run | planner sync FILE | worker --cluster NAME

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# The locked libraries first: a change of the code alone does not fetch them again.
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes -r requirements.txt \
 && python -m venv tools \
 && tools/bin/pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY scheduler scheduler
COPY planner planner
COPY worker worker
# The image runs what was installed; nothing in it installs more.
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/venv/bin/pip install --no-deps --no-index dist/*.whl \
 && /opt/venv/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm AS commands
# A volume that is mounted on the folder for snapshots takes over whose it is.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin scheduler \
 && install --directory --owner 10001 --group 10001 --mode 700 /var/lib/scheduler
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000 8001 8002
# No ENTRYPOINT: the command names the program. Run it with an init (`docker run --init`), which passes signals on
# and reaps what a worker's commands leave behind.
CMD ["scheduler", "--help"]

# docker build --target mini: a broker and a scheduler in one process, for tests. See docs/mini.md.
FROM commands AS mini
EXPOSE 9092
HEALTHCHECK --interval=5s --start-period=30s \
  CMD ["python", "-IS", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readiness', timeout=3)"]
CMD ["scheduler", "mini", "--host", "0.0.0.0", "--api", "0.0.0.0:8000"]

# The last one is what is built where no target is named.
FROM commands
