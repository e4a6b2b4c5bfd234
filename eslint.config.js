import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/*", "!ui/**", "!tests/**"] },
  js.configs.recommended,
  {
    files: ["ui/js/**/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      "max-lines-per-function": ["error", { max: 80, skipComments: true }],
      "max-depth": ["error", 3],
      complexity: ["error", 14],
      eqeqeq: "error",
      "no-implicit-globals": "error",
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  { files: ["tests/ui/js/**/*.js"], languageOptions: { globals: globals.node } },
];
