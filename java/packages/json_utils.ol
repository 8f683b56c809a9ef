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

service JsonUtils {
  inputPort Operations {
    location: "local"
    interfaces: JsonUtilsInterface
  }

  foreign java {
    class: "parlor.jolie.services.JsonUtils"
  }
}
