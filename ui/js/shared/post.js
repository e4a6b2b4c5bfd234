// @ts-check
// Uploads, with their progress.
import { apiUrl } from "./hub.js";

/**
 * @typedef {object} Told
 * @property {(share: number) => void} share is told the share that is sent
 * @property {(path: string) => void} sent is told the path on the server, or the name there
 * @property {(words: string) => void} failed is told what failed; "" if the request was given up
 */

/** @param {Told} tell */
const makeRequest = (tell) => {
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => tell.share(total ? loaded / total : 0));
  request.addEventListener("error", () => tell.failed("The connection was lost."));
  request.addEventListener("abort", () => tell.failed(""));
  return request;
};

/**
 * Send a file to the server.
 * @param {File} file
 * @param {Told} tell
 */
export const post = (file, tell) => {
  const request = makeRequest(tell);
  const body = new FormData();
  body.append("files", file, file.name);
  request.open("POST", apiUrl("/upload"));
  request.addEventListener("load", () => {
    if (request.status === 200) tell.sent(JSON.parse(request.responseText)[0]);
    else if (request.status === 413) tell.failed("The file is too large.");
    else tell.failed("The upload failed.");
  });
  request.send(body);
  return request;
};

/**
 * Send a file of any size to an address of the page's own, which answers with its name or says what is wrong.
 * @param {File} file
 * @param {string} address
 * @param {Told} tell
 */
export const put = (file, address, tell) => {
  const request = makeRequest(tell);
  request.open("PUT", `.${address}?name=${encodeURIComponent(file.name)}`);
  request.responseType = "json";
  request.addEventListener("load", () => {
    const { name, error } = request.response ?? {};
    if (name) tell.sent(name);
    else tell.failed(error ?? "The file could not be sent.");
  });
  request.send(file);
  return request;
};
