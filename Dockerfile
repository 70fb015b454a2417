# docker build -t text-to-image .                            # CPU
# docker build -t text-to-image --build-arg EXTRA=[gpu] .    # NVIDIA: docker run --gpus all
# docker build -t text-to-image --build-arg EXTRA=[tpu] .    # TPU VM: docker run --privileged --net=host
FROM python:3.11-slim
ARG EXTRA=""
WORKDIR /text-to-image
RUN pip install --no-cache-dir --upgrade pip
COPY . .
RUN pip install --no-cache-dir -e ".${EXTRA}"
ENTRYPOINT []
CMD ["t2i-sample", "--workdir=weights/shapes", "--prompt=a red circle left of a blue square", "--out=out.png"]
