// JsonUtils: JSON to data and back.

type GetJsonValueRequest: any {
  .strictEncoding?: bool
  .charset?: string
}

interface JsonUtilsInterface {
RequestResponse:
  getJsonString( undefined )( string ) throws JSONCreationError,
  getJsonValue( GetJsonValueRequest )( undefined ) throws JSONParseError
}

outputPort JsonUtils {
  Interfaces: JsonUtilsInterface
}

embedded {
  Java: "parlor.jolie.services.JsonUtils" in JsonUtils
}
