// @ts-check
// Word to whoever is elsewhere that a run is over. The browser may forbid it: then the tab's title says it alone.
export const TITLE = "Regrain"; // of the tab, where nothing goes on
const ASKED = "regrain-notify"; // whether this browser's visitor was asked

const mayAsk = () => "Notification" in window && Notification.permission === "default";

// Ask, once for ever, whether the desktop may say it.
export const askToNotify = () => {
  try {
    if (!mayAsk() || localStorage.getItem(ASKED)) return;
    localStorage.setItem(ASKED, "true");
    Notification.requestPermission();
  } catch {
    return; // the browser allows no storage, or no asking
  }
};

/**
 * Say something on the desktop, if nobody sees the page; a press of it shows the page.
 * @param {string} title
 * @param {string} body
 */
export const notify = (title, body) => {
  if (!document.hidden || !("Notification" in window) || Notification.permission !== "granted") return;
  try {
    const notice = new Notification(title, { body });
    notice.onclick = () => window.focus();
  } catch {
    return; // phones have none outside a service worker
  }
};
