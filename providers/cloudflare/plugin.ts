import { enableCompileCache } from "node:module";

// Before anything else is loaded: what is compiled once then starts in half the time.
enableCompileCache();
const [{ serve }, { default: types }, { default: sdk }] = await Promise.all([
  import("../plugin/server.ts"),
  import("./resources.ts"),
  import("@pulumi/cloudflare/package.json", { with: { type: "json" } }),
]);
// The engine asks for the version that the program's package is made for.
await serve({ name: "cloudflare", version: sdk.pulumi.version, types });
