package parlor.jolie;

import jolie.Interpreter;
import jolie.net.CommChannel;
import jolie.runtime.JavaService;
import jolie.runtime.embedding.EmbeddedServiceLoader;
import jolie.runtime.embedding.EmbeddedServiceLoaderCreationException;
import jolie.runtime.embedding.EmbeddedServiceLoaderFactory;
import jolie.runtime.embedding.EmbeddedServiceLoadingException;
import jolie.runtime.embedding.JavaCommChannel;
import jolie.runtime.expression.Expression;

/** What stands behind {@code embedded { Java: "…" in Port }}, which the interpreter from Maven Central lacks. */
public final class JavaLoaderFactory implements EmbeddedServiceLoaderFactory {
  @Override
  public EmbeddedServiceLoader createLoader(
      Interpreter interpreter,
      EmbeddedServiceLoader.EmbeddedServiceConfiguration configuration,
      Expression channelDestination)
      throws EmbeddedServiceLoaderCreationException {
    if (configuration instanceof EmbeddedServiceLoader.ExternalEmbeddedServiceConfiguration) {
      String path = ((EmbeddedServiceLoader.ExternalEmbeddedServiceConfiguration) configuration).servicePath();
      return new JavaLoader(channelDestination, interpreter, path);
    }
    throw new EmbeddedServiceLoaderCreationException("not a Java service");
  }

  private static final class JavaLoader extends EmbeddedServiceLoader {
    private final Interpreter interpreter;
    private final String path;

    JavaLoader(Expression channelDestination, Interpreter interpreter, String path) {
      super(channelDestination);
      this.interpreter = interpreter;
      this.path = path;
    }

    @Override
    public void load() throws EmbeddedServiceLoadingException {
      try {
        Object service = interpreter.getClassLoader().loadClass(path).getDeclaredConstructor().newInstance();
        if (!(service instanceof JavaService)) {
          throw new EmbeddedServiceLoadingException(path + " is no Java service");
        }
        ((JavaService) service).setInterpreter(interpreter);
        setChannel(channel((JavaService) service));
      } catch (ReflectiveOperationException error) {
        throw new EmbeddedServiceLoadingException(error);
      }
    }

    private static CommChannel channel(JavaService service) {
      return new JavaCommChannel(service);
    }
  }
}
