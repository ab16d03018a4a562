// Starts the emulator of Amazon SQS on a free loopback port, which it prints, and ends with its standard input: whoever holds
// the other end may be killed.
import { buildApp } from "fauxqs";

const app = await buildApp({ logger: false, host: "localhost" });
console.log(await app.listen({ port: 0, host: "127.0.0.1" }));

const end = async () => {
  await app.close();
  process.exit(0);
};
process.stdin.on("end", end).resume();
process.on("SIGTERM", end);
