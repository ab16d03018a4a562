// An Amazon SQS of one process, in memory: prints its address, and serves until it is told to end.
//
//     node sqs.mjs [--host 127.0.0.1] [--port 5056] [--with-parent]
//
// Without a port it takes any free one. With --with-parent it ends with its standard input: whoever holds the other end may be
// killed.
import { parseArgs } from "node:util";
import { buildApp } from "fauxqs";

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "0" },
    "with-parent": { type: "boolean", default: false },
  },
});
const app = await buildApp({ logger: false, host: "localhost" });
console.log(`SQS emulator: ${await app.listen({ port: Number(values.port), host: values.host })}`);

const end = async () => {
  await app.close();
  process.exit(0);
};
if (values["with-parent"]) process.stdin.on("end", end).resume();
process.on("SIGTERM", end);
process.on("SIGINT", end);
