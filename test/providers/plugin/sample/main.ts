import { serve } from "../../../../providers/plugin/server.ts";
import { thing } from "./thing.ts";

await serve({ name: "sample", version: "1.2.3", types: [thing] });
