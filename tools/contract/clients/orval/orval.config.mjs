// The configuration of orval: one file of types, and one file of functions for each tag.
import { defineConfig } from "orval";

export default defineConfig({
  rapport: {
    input: { target: process.env.DOCUMENT },
    output: {
      target: "generated/rapport.ts",
      mode: "tags-split",
      client: "fetch",
      baseUrl: { runtime: 'process.env["RAPPORT_URL"]' },
      tsconfig: "../tsconfig.json",
      // The description of the whole API is not repeated at the top of each file.
      override: { header: false },
    },
  },
});
