/** A bare grpc-js call, as the floor under every call to the API. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";

const same = (bytes: Buffer): Buffer => bytes;

export const ECHO = {
  path: "/bench.Echo/Echo",
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
} as const;

export type Echo = { call(bytes: Buffer): Promise<Buffer> } & Disposable;

/** In a process of its own, as the API server is. */
export async function startEcho(): Promise<Echo> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "echo-server.ts")], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = (await once(child.stdout, "data")) as [Buffer];
  const client = new Client(`127.0.0.1:${port.toString().trim()}`, credentials.createInsecure());
  return {
    call: (bytes) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(ECHO.path, same, same, bytes, (error, answer) => (error ? reject(error) : resolve(answer!)));
      }),
    [Symbol.dispose]: () => {
      client.close();
      child.kill("SIGKILL");
    },
  };
}
