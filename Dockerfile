# lensdepth on the CPU, with the explorer. Behind a mirror of pip's index, also without other network:
#   docker build --build-arg PIP_INDEX_URL=URL --build-arg TORCH_INDEX=URL -t lensdepth .
#   docker run --rm -v "$PWD:/out" lensdepth report --out /out/report.html
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
# PIP_INDEX_URL: a mirror of pip's index. TORCH_INDEX: an index that has torch's CPU build.
ARG PIP_INDEX_URL=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TL=4.3.0
ENV PIP_INDEX_URL=${PIP_INDEX_URL} PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/lensdepth \
    && version=$(sed -n 's/^torch==//p' constraints.txt) \
    && /opt/lensdepth/bin/pip install --quiet --extra-index-url "${TORCH_INDEX}" \
        --constraint constraints.txt "torch==${version}+cpu" "transformer-lens==${TL}" ".[explorer]"
RUN useradd --create-home lensdepth
USER lensdepth
WORKDIR /home/lensdepth
ENV PATH=/opt/lensdepth/bin:$PATH
ENTRYPOINT ["lensdepth"]
CMD ["report"]
