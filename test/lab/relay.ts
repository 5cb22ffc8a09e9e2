/** Run on a host: hands on every connection to its first address to its second one. An address is a path or "host:port". */
import { connect, createServer } from "node:net";
import type { NetConnectOpts } from "node:net";

const [from = "", to = ""] = process.argv.slice(2);

function addressOf(text: string): NetConnectOpts {
  if (text.startsWith("/")) return { path: text };
  const [host = "", port = ""] = text.split(":");
  return { host, port: Number(port) };
}

const server = createServer((near) => {
  const far = connect(addressOf(to));
  for (const [one, other] of [[near, far], [far, near]] as const) one.on("error", () => other.destroy()).on("close", () => other.destroy()).pipe(other);
});
server.listen(addressOf(from), () => process.stdout.write("relaying\n"));
