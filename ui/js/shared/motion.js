// Whether pictures may move by themselves.
export const mayMove = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;
