#!/bin/sh
# Put torch's CPU build into an environment, before pip would take another: tools/cpu_torch.sh PYTHON
#
# On Linux pip's own index has the CUDA build alone, several gigabytes, under the same version as the
# CPU build, whose name ends in "+cpu". So that name is asked for, which downloads nothing else:
# where pip looks anyhow, then at PyTorch's index. Nothing is done where the pinned version is there
# already, where an NVIDIA GPU is, and on other systems, whose builds are small.
set -eu
python=$1
version=$(sed -n 's/^torch==//p' constraints.txt)
index=${CPU_INDEX:-https://download.pytorch.org/whl/cpu}

[ "$(uname -s)" = Linux ] || exit 0
case $("$python" -m pip show torch 2>/dev/null | sed -n 's/^Version: //p') in
"$version" | "$version"+*) exit 0 ;;
esac
if command -v nvidia-smi >/dev/null; then
    echo "An NVIDIA GPU is here: torch comes with CUDA (TORCH_INDEX=URL takes another)."
    exit 0
fi

take() {
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --constraint constraints.txt "$@" "torch==$version+cpu" 2>/dev/null
}
take || take --timeout 15 --retries 1 --extra-index-url "$index" || {
    echo "No CPU build of torch $version where pip looks, nor at $index; its CUDA build is several" \
        "gigabytes. Name an index that has the small one (TORCH_INDEX=URL), or take that (CUDA=1)." >&2
    exit 1
}
