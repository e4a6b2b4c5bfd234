# Never built or run yet. For the CPU:  docker build -t regrain .
# For CUDA:  docker build -t regrain --build-arg TORCH=https://download.pytorch.org/whl/cu128 --build-arg EXTRA=[xformers] .
# Then:  docker run --rm -p 7860:7860 [--gpus all] -v "$HOME/models:/models" regrain
FROM python:3.12-slim
ARG TORCH=https://download.pytorch.org/whl/cpu
ARG EXTRA=""
WORKDIR /regrain
COPY requirements.txt requirements.lock ./
RUN grep -v "^xformers" requirements.txt > needed.txt \
  && pip install --no-cache-dir -r needed.txt -c requirements.lock --extra-index-url "$TORCH"
COPY . .
RUN if [ -n "$EXTRA" ]; then pip install --no-cache-dir xformers==0.0.35; fi \
  && useradd --create-home --uid 1000 user
USER user
ENV REGRAIN_MODELS=/models GRADIO_SERVER_NAME=0.0.0.0
EXPOSE 7860
CMD ["python", "app.py"]
