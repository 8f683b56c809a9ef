package parlor.jolie.services;

import java.io.IOException;
import java.io.StringReader;
import jolie.js.JsUtils;
import jolie.runtime.FaultException;
import jolie.runtime.JavaService;
import jolie.runtime.Value;
import jolie.runtime.typing.Type;

/** {@code JsonUtils}: text to data and back, by the rules of Jolie's own {@code jolie-js}. */
public final class JsonUtils extends JavaService {
  /** Data as JSON. */
  public String getJsonString(Value data) throws FaultException {
    StringBuilder json = new StringBuilder();
    try {
      JsUtils.valueToJsonString(data, true, Type.UNDEFINED, json);
    } catch (IOException error) {
      throw new FaultException("JSONCreationError", error);
    }
    return json.toString();
  }

  /** JSON as data. */
  public Value getJsonValue(Value json) throws FaultException {
    Value data = Value.create();
    String charset = json.hasChildren("charset") ? json.getFirstChild("charset").strValue() : null;
    try {
      String text = json.isByteArray() && charset != null ? json.byteArrayValue().toString(charset) : json.strValue();
      boolean strict = json.hasChildren("strictEncoding") && json.getFirstChild("strictEncoding").boolValue();
      JsUtils.parseJsonIntoValue(new StringReader(text), data, strict);
    } catch (IOException error) {
      throw new FaultException("JSONParseError", error.getMessage());
    }
    return data;
  }
}
