/** The least that a gRPC server can do: bare grpc-js that gives back the bytes it gets. Prints its port. */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import { ECHO } from "./echo.ts";

const server = new Server();
server.addService({ echo: ECHO }, { echo: ({ request }: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => answer(null, request) });
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n`);
});
