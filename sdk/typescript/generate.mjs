// Writes the types of an OpenAPI document: node generate.mjs DOCUMENT OUTPUT.
//
// The document names the codes of each problem response in its examples. They become the type of `code`, so that the error of a
// call is a union by code.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const [input, output] = process.argv.slice(2);
const document = JSON.parse(readFileSync(input, "utf8"));
const problem = { $ref: "#/components/schemas/Problem" };

for (const operations of Object.values(document.paths)) {
  for (const operation of Object.values(operations)) {
    for (const [status, response] of Object.entries(operation.responses ?? {})) {
      const content = response.content?.["application/problem+json"];
      if (!content) continue;
      const codes = Object.values(content.examples ?? {}).map((example) => example.value.code);
      if (codes.length === 0) throw new Error(`${operation.operationId} ${status} names no code`);
      const properties = { code: { type: "string", enum: codes }, status: { type: "integer", enum: [Number(status)] } };
      content.schema = { allOf: [problem, { type: "object", required: ["code", "status"], properties }] };
      delete content.examples;
    }
  }
}

const types = astToString(await openapiTS(document));
writeFileSync(output, `// Generated from the OpenAPI document by generate.mjs.\n${types}`);
