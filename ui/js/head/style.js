// @ts-check
// The style sheet, after all of Gradio's: its rules once as they are, and once within Gradio's page, where they are
// stronger than Gradio's own.

export const addStyle = async () => {
  const answer = await fetch(new URL("../page.css", import.meta.url));
  const rules = await answer.text();
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`${rules}\n.gradio-container.gradio-container .contain {\n${rules}}`);
  document.adoptedStyleSheets.push(sheet);
};
