// The configuration of Hey API: its client that uses fetch.
import { defineConfig } from "@hey-api/openapi-ts";

export default defineConfig({
  input: process.env.DOCUMENT,
  output: { path: "hey-api/generated", module: { extension: ".js" } },
  plugins: ["@hey-api/client-fetch"],
});
