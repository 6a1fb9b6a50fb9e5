import * as z from "zod";
import { defineFunction, tool } from "../node/define.ts";

/** The smallest useful function: shows that a call arrives, and as whom. */
export default defineFunction({
  name: "echo",
  description: "Answers with what it is given, and with who it thinks is asking.",
  tools: {
    echo: tool({
      title: "Echo",
      description: "Returns the given text unchanged.",
      input: z.object({ text: z.string().max(100_000).describe("The text to return") }),
      annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
      run: ({ text }) => text,
    }),
    whoami: tool({
      title: "Who am I",
      description:
        "Tells which user and organization the call is made for, which node answers, and over which nodes the call came.",
      input: z.object({}),
      output: z.object({
        caller: z.object({ subject: z.string(), organization: z.string() }),
        node: z.string(),
        via: z.array(z.string()),
        callId: z.string(),
      }),
      annotations: { readOnlyHint: true, openWorldHint: false },
      run: (_, { caller, node, callId }) => ({
        structured: {
          caller: { subject: caller.subject, organization: caller.organization },
          node,
          via: [...caller.via],
          callId,
        },
      }),
    }),
  },
  prompts: {
    greeting: {
      title: "Greeting",
      description: "Asks the model to greet somebody.",
      arguments: { name: { description: "Who is greeted", required: true } },
      get: ({ name }) => `Greet ${name} in one friendly sentence.`,
    },
  },
  resources: {
    "echo://about": {
      name: "about",
      title: "About this node",
      description: "Which node answers.",
      mimeType: "text/plain",
      read: (_uri, _variables, { node }) => `This is the echo function of ${node}.`,
    },
  },
});
