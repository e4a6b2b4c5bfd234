// @ts-check
// Uploads, with their progress.
import { apiUrl } from "./hub.js";

/**
 * Send a file to the server.
 * @param {File} file
 * @param {object} tell
 * @param {(share: number) => void} tell.share is told the share that is sent
 * @param {(path: string) => void} tell.sent is told the path on the server
 * @param {(words: string) => void} tell.failed is told what failed; "" if the request was given up
 */
export const post = (file, tell) => {
  const request = new XMLHttpRequest();
  const body = new FormData();
  body.append("files", file, file.name);
  request.open("POST", apiUrl("/upload"));
  request.upload.addEventListener("progress", ({ loaded, total }) => tell.share(total ? loaded / total : 0));
  request.addEventListener("load", () => {
    if (request.status === 200) tell.sent(JSON.parse(request.responseText)[0]);
    else if (request.status === 413) tell.failed("The file is too large.");
    else tell.failed("The upload failed.");
  });
  request.addEventListener("error", () => tell.failed("The connection was lost."));
  request.addEventListener("abort", () => tell.failed(""));
  request.send(body);
  return request;
};
