import types from "../../../../providers/fly/resources.ts";
import { serve } from "../../../../providers/plugin/server.ts";

await serve({ name: "federation", version: "0.0.1", types });
