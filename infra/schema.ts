import { writeFileSync } from "node:fs";
import { stackFileSchema } from "./topology.ts";

// Run by `npm run schema` after a change of the topology's schema; editors read what it writes.
writeFileSync(new URL("../stacks/schema.json", import.meta.url), `${JSON.stringify(stackFileSchema(), null, 2)}\n`);
