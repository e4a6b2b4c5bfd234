// @ts-check
import { apiUrl } from "./hub.js";

// Send a file to the server; `tell` is told the share that is sent, its path there, or what failed.
export const post = (file, tell) => {
  const request = new XMLHttpRequest(),
    body = new FormData();
  body.append("files", file, file.name);
  request.open("POST", apiUrl("/upload"));
  request.upload.addEventListener("progress", ({ loaded, total }) => tell.share(total ? loaded / total : 0));
  request.addEventListener("load", () => {
    if (request.status !== 200)
      tell.failed(request.status === 413 ? "The file is too large." : "The upload failed.");
    else tell.sent(JSON.parse(request.responseText)[0]);
  });
  request.addEventListener("error", () => tell.failed("The connection was lost."));
  request.addEventListener("abort", () => tell.failed(""));
  request.send(body);
  return request;
};
