package javax.annotation;

/** Stands in for jakarta.annotation-api 1.3.5, which generated sources refer to. */
public @interface Generated {
  String[] value();

  String date() default "";

  String comments() default "";
}
