/** Bridges of the host, from the kernel's own list. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";

const INTERFACES = "/sys/class/net";

/** An interface is a bridge when the kernel gives it a `bridge` directory. */
export async function hostBridges(interfaces = INTERFACES): Promise<string[]> {
  const names = await entries(interfaces);
  const contents = await Promise.all(names.map((name) => entries(join(interfaces, name))));
  return names.filter((_, index) => contents[index]?.includes("bridge"));
}

/** An interface may go away while it is looked at. */
async function entries(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
